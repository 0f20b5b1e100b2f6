"""The admin port: health, metrics, status, exchanges, drain. Imports aiohttp, so import it once data is served."""
