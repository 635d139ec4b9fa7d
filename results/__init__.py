"""What comes out: records, where they are stored, and what is made of them."""

from .record import Failure, Layer, Record, Round
from .store import Store, write_atomically

__all__ = ["Failure", "Layer", "Record", "Round", "Store", "write_atomically"]
