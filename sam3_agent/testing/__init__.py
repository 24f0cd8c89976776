"""Tests that every planner, segmenter and tool passes, as classes that plug-ins derive from.

They need no test runner of their own: pytest collects the methods of a class that derives from
PlannerContract, SegmenterContract or ToolContract, and plain asserts say what is wrong. Beside them
stand the fakes: `sam3_agent.model.scripted_planner` and `sam3_agent.model.fake_segmenter`.
"""
