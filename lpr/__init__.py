"""lpr-agent: reads licence plates at a vehicle gate and delivers every event to the back-end without loss."""

__version__ = "0.1.0"
