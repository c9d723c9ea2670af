"""What stands before every request: ASGI middlewares that refuse what must not come through."""
