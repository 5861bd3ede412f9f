"""Rules to steps to a proven plan. Pure: no file is opened, no byte is seen."""
