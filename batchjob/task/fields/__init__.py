"""Several answers about one text: fields, asked together, each read and kept by itself.

Outside of here a row has one label. Of a job with fields it is the JSON object of their values, in the fields' order;
what a row has while some are missing is kept in its answer. So a row's fields are committed with its request, in one
transaction, and a row is done when all are there.
"""
