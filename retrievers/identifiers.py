"""Code in search: the words inside a name, what short forms stand for, which language it is."""

import re
from collections.abc import Iterator
from typing import Final

_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_LEAST: Final = 2  # characters; one letter or digit by itself says nothing
# Short forms usual in names of any programming language, and the words they stand for.
_SHORT_FORMS: Final = """
    addr address  alloc allocate  arg argument  args arguments  arr array  attr attribute
    attrs attributes  auth authenticate  avg average  bool boolean  buf buffer  calc calculate
    cfg config  char character  chars characters  cls class  cmd command  cmp compare  cnt count
    col column  cols columns  conf config  conn connection  coord coordinate  ctx context
    cur current  curr current  cwd directory  db database  decl declaration  del delete
    desc description  dest destination  df dataframe  dict dictionary  diff difference
    dir directory  dirs directories  dst destination  elem element  env environment  eq equal
    err error  exc exception  exec execute  expr expression  ext extension  fmt format
    fn function  freq frequency  func function  gen generate  hdr header  idx index  img image
    info information  init initialize  int integer  ints integers  iter iterate  kwargs arguments
    len length  lib library  lst list  max maximum  mem memory  min minimum  mkdir directory
    mod module  msg message  msgs messages  num number  nums numbers  obj object  objs objects
    op operation  opt option  opts options  orig original  param parameter  params parameters
    pat pattern  perm permission  pkg package  pos position  pred predict  prev previous
    proc process  prod product  prop property  props properties  ptr pointer  rand random
    recv receive  ref reference  regex expression  rel relative  req request  res result
    resp response  ret return  rm remove  rmdir directory  sec second  seq sequence
    sep separator  sig signature  spec specification  src source  std standard  stmt statement
    str string  strs strings  sub substitute  sym symbol  sync synchronize  sys system
    temp temporary  tmp temporary  tok token  txt text  tz timezone  util utility  val value
    vals values  var variable  vars variables  vec vector  ver version  win window
"""
_WORDS: Final = _SHORT_FORMS.split()
SHORT_FORMS: Final = dict(zip(_WORDS[::2], _WORDS[1::2], strict=True))
# A definition that prose never holds, at the start of a line.
_DEFINITIONS: Final = re.compile(
    r"^[ \t]*(?:"
    r"(?P<python>(?:async[ \t]+)?def[ \t]+\w+[ \t]*\((?:[^()]|\([^()]*\)){0,2000}+\)[^:\n]*:"
    r"|class[ \t]+\w+(?:\([\w.,= \t]*\))?:[ \t]*$)"
    r"|(?P<javascript>(?:(?:export|default|async)[ \t]+){0,3}function\*?[ \t]+\w+[ \t]*\("
    r"|(?:export[ \t]+)?(?:const|let|var)[ \t]+\w+[ \t]*=[^\n]*=>)"
    r"|(?P<go>func[ \t]+(?:\([^()\n]*\)[ \t]*)?\w+[ \t]*\([^\n]*\{[ \t]*$)"
    r"|(?P<rust>(?:pub[ \t]+)?fn[ \t]+\w+[ \t]*[(<])"
    r"|(?P<java>(?:public|private|protected)[ \t]++(?:static[ \t]++)?(?:final[ \t]++)?"
    r"[\w<>\[\], ]++\()"
    r"|(?P<c>\#[ \t]*include[ \t]*[<\"])"
    r"|(?P<sql>(?:CREATE[ \t]+TABLE|INSERT[ \t]+INTO)[ \t]+\w)"
    r")",
    re.MULTILINE,
)
_HINT: Final = re.compile(r"\bdef |\bclass |\bfunc|=>|\bfn |\) ?\{|#\s*include|\b[A-Z]{6} ")
_LOOKED_AT: Final = 20_000  # characters


def parts(identifier: str) -> Iterator[str]:
    """The words inside snake_case, camelCase and letters joined to digits, lower-cased."""
    for match in _PART.finditer(identifier):
        if len(match[0]) >= _LEAST and match[0] != identifier:
            yield match[0].lower()


def code_language(text: str) -> str | None:
    """The programming language that a definition in `text` is written in; None for prose."""
    sample = text[:_LOOKED_AT]
    found = _DEFINITIONS.search(sample) if _HINT.search(sample) else None
    return found.lastgroup if found else None
