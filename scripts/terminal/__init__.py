"""What a command line hears and says, before any library of the work is loaded."""
