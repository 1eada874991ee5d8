"""The one interface: frames and stream states in, tracked instances and new states out."""
