"""What this machine is, what it can do, and which part of it a run should use."""
