"""Measures the gateway on a real engine. Nothing here is part of the product."""
