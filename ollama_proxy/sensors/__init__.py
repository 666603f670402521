"""What is looked at from time to time: the model server and what it holds."""
