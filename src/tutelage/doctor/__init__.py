"""The examination of a teacher, a student and a data set before anything is trained."""
