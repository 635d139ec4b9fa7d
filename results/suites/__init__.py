"""What a suite comes to: plain functions of its tasks and of records."""
