"""What is judged, one area of the catalogue a module. Each registers its functions with ``registry``."""

__all__: list[str] = []
