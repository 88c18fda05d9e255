"""What is said of a run once it is over: analysis of the views of it, and the files it is written to.

In: the views of a run (`longshore.runs`), its record, its history. Out: one `Report`, and from that HTML, Markdown,
JSON; and JUnit XML and traces of the attempts. Nothing here starts, records or changes anything.
"""
