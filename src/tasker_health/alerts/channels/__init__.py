"""Who can be told: one file for each, and `chosen` for those that the settings name."""
