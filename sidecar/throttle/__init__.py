"""How much may be asked: token buckets here (`local`), or one for all replicas in Redis (`shared`).

aiolimiter needs the running loop's clock and Redis needs I/O, so these are no pure decisions as those in `policy/` are.
They know the exchange and nothing of the wire, of metrics or of the rest of the stack.
"""
