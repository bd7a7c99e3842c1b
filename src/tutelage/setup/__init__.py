"""From settings to the objects of a run: student, teachers, methods, loaders, schedule."""
