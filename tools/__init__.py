"""What a planner can do to a scene, and the pictures that it is shown."""
