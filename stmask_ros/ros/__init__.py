"""What the nodes share: topics, messages, transport, launch files."""
