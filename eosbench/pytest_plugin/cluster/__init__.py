"""A run whose cases are done by the workers of a Dask cluster, recorded and reported as any other.

1. The `controller` collects as ever, connects to the scheduler, and refuses workers that are not as this process
   (`sameness`).
2. Each experiment is a task of Dask. On a worker, `experiment` starts a process of pytest for its cases, which dies
   with the worker.
3. In that process, `child` tells what pytest reports of each case, and goes on only when the scheduler has heard it.
4. The controller hears it as structured events of Dask, in order, and hands each report to pytest's own hooks:
   recorder, progress and terminal see what they see of a serial run.
5. What was begun is not begun again: where a worker is lost, the case at work is named as crashed, and what had not
   started goes to another worker.
"""
