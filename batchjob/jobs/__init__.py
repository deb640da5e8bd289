"""What is done with a job, as functions: plan a start, a resume or a retry, run the plan, export what came of it.

How a job stands and what failed are `views.status.status_of` and `views.problems.problems_of`, on a reader's snapshot.
"""
