"""Jobs: long operations as processes of their own, each with a folder that describes it."""
