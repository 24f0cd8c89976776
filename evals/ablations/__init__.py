"""Experiments that switch one part of the agent off: what does it buy?"""
