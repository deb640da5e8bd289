"""What a job did, as one document to hand over: its parts, and each form they are written in."""
