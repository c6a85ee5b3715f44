"""Tables, pictures and pages of data that others made."""
