"""Tables of compare.py, aligned and as Markdown."""

import pathlib


class Table:
    def __init__(self, head):
        self.rows = [head]

    def add(self, *row):
        self.rows.append(row)

    def __str__(self):
        widths = [max(map(len, column)) for column in zip(*self.rows)]
        return "\n".join(
            "  ".join(word.ljust(width) if i == 0 else word.rjust(width)
                      for i, (word, width) in enumerate(zip(row, widths))).rstrip()
            for row in self.rows)

    def markdown(self):
        lines = ["| " + " | ".join(row) + " |" for row in self.rows]
        lines.insert(1, "|---" + "|--:" * (len(self.rows[0]) - 1) + "|")
        return "\n".join(lines)


def write_markdown(path, report, sections):
    parts = [f"Machine: {report['machine']}; commit {report['commit']};\n`{report['command']}`"]
    for case, tables, notes in sections:
        parts.append(f"## {case.name}\n\n{case.about}.")
        parts += [table.markdown() for table in tables]
        parts.append(". ".join(notes) + ".")
    pathlib.Path(path).write_text("\n\n".join(parts) + "\n")
