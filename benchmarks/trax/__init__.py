"""TraX, the protocol of the VOT toolkit: a server for our models, and the parts of a client.

https://trax.readthedocs.io: lines of text over standard input and output. The server is vot-trax's. Its
client (4.0.2) crashes the process it runs in when the other side dies or greets it wrongly, so our client of
other people's trackers (benchmarks/trackers/trax.py) reads and writes the lines itself: message, region,
process.
"""
