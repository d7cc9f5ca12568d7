"""NIR graphs: compiled to programs, and written from networks and programs.

Reading: ``graphs`` is the way in, ``time_step`` finds ``dt``, ``wiring`` the edges, ``nodes`` and ``neurons`` read one
node, ``signals`` multiplies linear nodes out, ``operations`` makes the program. Writing: ``export`` writes networks,
``program`` programs, ``portable`` moves scales into weights, ``readers`` says what other tools make of a graph.
"""
