"""Settings of the course for nbgrader's commands, run in this folder, and for ours."""

c = get_config()  # noqa: F821 (nbgrader gives it)
c.CourseDirectory.course_id = "image-augmentation"
