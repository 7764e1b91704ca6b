"""Made-up trees of small files, as /proc and /sys have them."""


def write(root, files):
    """path below root -> what the file holds."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
