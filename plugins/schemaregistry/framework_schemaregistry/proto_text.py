"""Reads the text of a `.proto` file, as registries give it, into a file descriptor.

What changes how bytes are read is read: messages, fields, maps, oneofs, enums, defaults. Services, extensions, and
options other than these are skipped. Types are named as in the text; protobuf finds them when the descriptor is used.
"""

import re
from collections.abc import Callable
from typing import Final

from google.protobuf import text_encoding
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

__all__ = ["parse_proto"]

_TOKEN: Final = re.compile(
    r"""\s+ | //[^\n]* | /\*.*?\*/
    | (?P<token> "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*'
      | \.?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)* | \.?\d[\w.]*(?:(?<=[eE])[+-]\d+)? | [-+{}\[\]()<>=;,:/.] )""",
    re.VERBOSE | re.DOTALL,
)
_SCALARS: Final = {
    name.removeprefix("TYPE_").lower(): number
    for name, number in FieldDescriptorProto.Type.items()
    if name not in ("TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP")
}
_LABELS: Final = {
    "optional": FieldDescriptorProto.LABEL_OPTIONAL,
    "required": FieldDescriptorProto.LABEL_REQUIRED,
    "repeated": FieldDescriptorProto.LABEL_REPEATED,
}
_CLOSING: Final = {"{": "}", "[": "]", "(": ")", "<": ">"}


def parse_proto(text: str, name: str) -> FileDescriptorProto:
    """The descriptor of a `.proto` file with this name. Raises `ValueError` where the text cannot be understood."""
    return _Parser(_tokens(text), name).file


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(f"{text[place : place + 20]!r} is no Protocol Buffers language")
        if found["token"]:
            tokens.append(found["token"])
        place = found.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[str], name: str) -> None:
        self._tokens = tokens
        self._place = 0
        self._at_top: dict[str, Callable[[], None]] = {
            "syntax": self._syntax,
            "edition": self._edition,
            "package": self._package,
            "import": self._import,
            "message": lambda: self._message(self.file.message_type.add()),
            "enum": lambda: self._enum(self.file.enum_type.add()),
        }
        self.file = FileDescriptorProto(name=name)
        while self._place < len(tokens):
            self._at_top.get(self._peek(), self._skip_statement)()

    # The file

    def _syntax(self) -> None:
        self._expect("syntax", "=")
        syntax = self._text()
        if syntax not in ("proto2", "proto3"):
            raise ValueError(f"the syntax {syntax} is unknown; proto2 and proto3 can be read")
        if syntax == "proto3":
            self.file.syntax = syntax
        self._expect(";")

    def _edition(self) -> None:
        raise ValueError("editions of Protocol Buffers cannot be read from text, only proto2 and proto3")

    def _package(self) -> None:
        self._expect("package")
        self.file.package = self._next()
        self._expect(";")

    def _import(self) -> None:
        self._expect("import")
        is_public = self._accept("public")
        if not is_public:
            self._accept("weak")
        if is_public:
            self.file.public_dependency.append(len(self.file.dependency))
        self.file.dependency.append(self._text())
        self._expect(";")

    # Messages

    def _message(self, message: DescriptorProto) -> None:
        self._expect("message")
        message.name = self._next()
        self._expect("{")
        optional: list[FieldDescriptorProto] = []
        while not self._accept("}"):
            match self._peek():
                case "message" if self._is_definition():
                    self._message(message.nested_type.add())
                case "enum" if self._is_definition():
                    self._enum(message.enum_type.add())
                case "oneof" if self._is_definition():
                    self._oneof(message)
                case "option" | "reserved" | "extensions" | "extend" | ";":
                    self._skip_statement()
                case _:
                    field = self._field(message)
                    if field.proto3_optional:
                        optional.append(field)
        for field in optional:  # the oneofs that protobuf wants for these come after all others
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")

    def _is_definition(self) -> bool:
        """Whether a word that a type could be named by defines something here: `message Line {`."""
        return self._tokens[self._place + 2 : self._place + 3] == ["{"]

    def _oneof(self, message: DescriptorProto) -> None:
        self._expect("oneof")
        index = len(message.oneof_decl)
        message.oneof_decl.add(name=self._next())
        self._expect("{")
        while not self._accept("}"):
            if self._peek() in ("option", ";"):
                self._skip_statement()
            else:
                self._field(message).oneof_index = index

    def _field(self, message: DescriptorProto) -> FieldDescriptorProto:
        label = self._peek()
        field = message.field.add(label=_LABELS.get(label, FieldDescriptorProto.LABEL_OPTIONAL))
        if label in _LABELS:
            self._next()
            field.proto3_optional = label == "optional" and self.file.syntax == "proto3"
            if not field.proto3_optional:
                field.ClearField("proto3_optional")
        if self._peek() == "map" and self._tokens[self._place + 1 : self._place + 2] == ["<"]:
            self._map(message, field)
        else:
            self._type(field, self._next())
            self._name_and_number(field)
        return field

    def _map(self, message: DescriptorProto, field: FieldDescriptorProto) -> None:
        self._expect("map", "<")
        entry = message.nested_type.add()
        entry.options.map_entry = True
        self._type(entry.field.add(name="key", number=1, label=field.label), self._next())
        self._expect(",")
        self._type(entry.field.add(name="value", number=2, label=field.label), self._next())
        self._expect(">")
        self._name_and_number(field)
        entry.name = "".join(part[:1].upper() + part[1:] for part in field.name.split("_")) + "Entry"
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f"{message.name}.{entry.name}"

    def _type(self, field: FieldDescriptorProto, name: str) -> None:
        if name == "group":
            raise ValueError("groups of proto2 cannot be read from text")
        if name in _SCALARS:
            field.type = _SCALARS[name]
        else:
            field.type_name = name  # a message or an enum; protobuf finds out which

    def _name_and_number(self, field: FieldDescriptorProto) -> None:
        field.name = self._next()
        self._expect("=")
        field.number = self._number()
        if self._accept("["):
            while not self._accept("]"):
                self._field_option(field)
                self._accept(",")
        self._expect(";")

    def _field_option(self, field: FieldDescriptorProto) -> None:
        name = self._next()
        value = self._option_value()
        match name, value:
            case "default", [first, *_] if first[0] in "\"'":
                raw = b"".join(map(_unquoted, value))
                field.default_value = raw.decode("latin-1" if field.type == field.TYPE_BYTES else "utf-8")
                if field.type == field.TYPE_BYTES:
                    field.default_value = text_encoding.CEscape(raw, as_utf8=False)
            case "default", _:
                field.default_value = "".join(value)
            case "json_name", _:
                field.json_name = b"".join(map(_unquoted, value)).decode()
            case "packed", _:
                field.options.packed = value == ["true"]

    def _option_value(self) -> list[str]:
        """The tokens after the `=` of an option, up to the `,`, `]` or `;` behind it."""
        while self._next() != "=":
            pass
        value: list[str] = []
        while self._peek() not in (",", "]", ";"):
            if self._peek() in _CLOSING:
                self._skip_group()
            else:
                value.append(self._next())
        return value

    def _enum(self, enum: EnumDescriptorProto) -> None:
        self._expect("enum")
        enum.name = self._next()
        self._expect("{")
        while not self._accept("}"):
            if self._peek() == "option":
                self._next()
                name = self._peek()
                value = self._option_value()
                self._expect(";")
                if name == "allow_alias":
                    enum.options.allow_alias = value == ["true"]
            elif self._peek() in ("reserved", ";"):
                self._skip_statement()
            else:
                value_name = self._next()
                self._expect("=")
                enum.value.add(name=value_name, number=self._number())
                if self._peek() == "[":
                    self._skip_group()
                self._expect(";")

    # Tokens

    def _peek(self) -> str:
        if self._place == len(self._tokens):
            raise ValueError("the text of the Protocol Buffers schema ends early")
        return self._tokens[self._place]

    def _next(self) -> str:
        token = self._peek()
        self._place += 1
        return token

    def _accept(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._place += 1
        return True

    def _expect(self, *tokens: str) -> None:
        for token in tokens:
            found = self._next()
            if found != token:
                raise ValueError(f"{found!r} stands where {token!r} is needed")

    def _text(self) -> str:
        text = _unquoted(self._next())
        while self._peek()[0] in "\"'":
            text += _unquoted(self._next())
        return text.decode()

    def _number(self) -> int:
        sign = -1 if self._accept("-") else 1
        digits = self._next()
        is_octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
        return sign * int(digits, 8 if is_octal else 0)

    def _skip_statement(self) -> None:
        """Go behind the `;` or the `{…}` that ends what stands here."""
        while True:
            following = self._peek()
            if following == "{":
                self._skip_group()
                self._place += self._place < len(self._tokens) and self._tokens[self._place] == ";"
                return
            if following in _CLOSING:
                self._skip_group()
            elif self._next() == ";":
                return

    def _skip_group(self) -> None:
        open_groups = [_CLOSING[self._next()]]
        while open_groups:
            token = self._next()
            if token in ("{", "[", "("):
                open_groups.append(_CLOSING[token])
            elif token == open_groups[-1]:
                open_groups.pop()


def _unquoted(literal: str) -> bytes:
    if literal[0] not in "\"'":
        raise ValueError(f"{literal!r} stands where a text in quotes is needed")
    unescaped: bytes = text_encoding.CUnescape(literal[1:-1])
    return unescaped
