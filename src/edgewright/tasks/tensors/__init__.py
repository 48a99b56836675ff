"""Any arrays: every model that no other task describes, judged by how far its outputs are from the float model's."""
