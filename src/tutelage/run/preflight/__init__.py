"""Before the first step: the teacher is evaluated, the wiring proven, faults are told."""
