"""The pages that people look at: one HTML file each, that opens from a folder or a mail."""
