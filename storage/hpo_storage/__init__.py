"""Study storage on SQL."""
