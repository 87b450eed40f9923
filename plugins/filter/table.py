# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show rows as a table."""

from __future__ import annotations

DOCUMENTATION = """
name: table
short_description: The lines of a table whose columns are as wide as what they hold
version_added: 0.1.0
description:
  - Each row is a list of cells, the first usually the headings.
positional: _input
options:
  _input:
    description: The rows.
    type: list
    elements: list
    required: true
author:
  - Bulkhead contributors
"""

EXAMPLES = """
- name: A table is shown
  ansible.builtin.debug:
    msg: "{{ [['VM', 'state'], ['pihole', 'running']] | bulkhead.hosts.table }}"
"""

RETURN = """
_value:
  description: One line a row.
  type: list
  elements: str
"""


def table(rows):
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    ]


class FilterModule:
    def filters(self):
        return {'table': table}
