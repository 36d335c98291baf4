"""What the connectors that handle money share."""
