"""The models behind the seams: SAM 3 segmenters and planners."""
