"""Channels that go with all that belongs to them: what that is, and the smaller network."""
