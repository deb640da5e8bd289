"""A local OpenAI-compatible endpoint: a real small classifier, quotas, faults and a billing ledger.

settings.py    every setting, its default and its check
wire.py        the bytes of a request -> what is asked; an answer -> bytes
faults.py      what can go wrong with an answer, and when
quota.py       requests and tokens per minute
classifier.py  texts -> labels
fields.py      several answers about one text
tongues.py     how it speaks as a provider does: refusals, thoughts, bills, errors
ledger.py      one line per request, written before it is answered
memory.py      answers by idempotency key
app.py         a request -> its answer
server.py      the above on a socket
"""
