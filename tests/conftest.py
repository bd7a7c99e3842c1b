import os

# Two test processes on two cores: one thread each, or they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
