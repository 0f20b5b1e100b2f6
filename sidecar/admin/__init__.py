"""The admin port: health, metrics, status, drain. Imports aiohttp, so import it once the data listener is bound."""
