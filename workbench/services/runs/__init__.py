"""Jobs from their form to their last event, and what can be done with a run."""
