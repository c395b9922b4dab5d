"""What all stages lean on: channels, clocks of waiting, logs without credentials."""
