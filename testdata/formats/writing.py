def run(path):
    pass
