"""Servers that are killed while messages pass, and a checker of what was seen: what a server with files promises.

history.py is what was seen, checker.py what must hold of it, actors.py those who publish and consume, cycle.py the
server that they lose again and again.
"""
