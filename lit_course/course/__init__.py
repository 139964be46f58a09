"""The course: ten lessons that run, each a question, its runs, and an answer made of them."""
