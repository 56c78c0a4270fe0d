"""Protocols by name: the fixed settings under which every compressed set is judged."""

from bench.protocols.base import PROTOCOLS, Load, Protocol
from bench.protocols.recipes import Cpu

__all__ = ["PROTOCOLS", "Cpu", "Load", "Protocol"]
