/* Columns of fetched record batches, of Kafka's message format v2, straight from their bytes.
 *
 * `batches` splits the bytes of a fetch into batches and reads their headers. `Columns` parses the records of batches
 * once, and stores the places of key, value and headers of each record in an array, without a Python object for each
 * record. Its methods make columns from that array. All lengths in the bytes are checked before they are used, because
 * the bytes may be damaged.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <structmember.h>

#include <stdint.h>
#include <string.h>

#include "_crc32c.h"

/* Offsets of the fields of a batch's header. The length counts the bytes after itself. The checksum covers the bytes
 * from the attributes on. */
enum {
    BASE_OFFSET = 0, LENGTH = 8, AFTER_LENGTH = 12, MAGIC = 16, CRC = 17, ATTRIBUTES = 21, LAST_OFFSET_DELTA = 23,
    FIRST_TIMESTAMP = 27, MAX_TIMESTAMP = 35, PRODUCER_ID = 43, COUNT = 57, HEADER_SIZE = 61
};
enum { COMPRESSION_BITS = 0x07, LOG_APPEND_TIME_BIT = 0x08, TRANSACTIONAL_BIT = 0x10, CONTROL_BIT = 0x20 };
enum { THIS_MAGIC = 2, SMALLEST_RECORD = 7 };

typedef struct {
    PyTypeObject *batch_type;
} State;

typedef struct {
    PyObject_HEAD
    PyObject *data; /* all bytes of the fetch; the batch is from start to end */
    Py_ssize_t start, end;
    long long base_offset, next_offset, first_timestamp, max_timestamp, producer_id;
    uint32_t crc;
    int32_t count, last_offset_delta;
    int attributes;
    char is_transactional, is_control_batch;
} Batch;

typedef struct {
    const uint8_t *key, *value, *end; /* the headers are between the end of the value and the end of the record */
    int64_t offset, timestamp;
    int32_t key_size, value_size; /* -1: null */
} Record;

typedef struct {
    PyObject_HEAD
    PyObject *kept_alive;  /* owner of the memory: a list of bytes; for a slice, the columns that it is a part of */
    Record *owned;         /* freed with this object; NULL for a slice */
    const Record *records; /* the first record */
    Py_ssize_t length;
} Columns;

/* The bytes that are not read yet. */
typedef struct {
    const uint8_t *at, *end;
} Cursor;

/* ---- Integers */

static uint32_t big_endian_32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t big_endian_64(const uint8_t *at)
{
    return (uint64_t)big_endian_32(at) << 32 | big_endian_32(at + 4);
}

/* Returns whether a complete integer was read. */
static inline int read_varint(Cursor *cursor, int64_t *value)
{
    uint64_t bits = 0;
    for (int shift = 0; shift < 64 && cursor->at < cursor->end; shift += 7) {
        uint8_t byte = *cursor->at++;
        bits |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = (int64_t)(bits >> 1 ^ (0 - (bits & 1)));
            return 1;
        }
    }
    return 0;
}

/* ---- Batch: the header of a batch, and the place of its bytes */

static void batch_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(((Batch *)self)->data);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* The bytes from position `from` of the batch on. */
static PyObject *batch_bytes(const Batch *self, Py_ssize_t from)
{
    return PyBytes_FromStringAndSize(PyBytes_AsString(self->data) + self->start + from, self->end - self->start - from);
}

static PyObject *batch_data(PyObject *self, void *Py_UNUSED(closure))
{
    return batch_bytes((Batch *)self, 0);
}

static PyObject *batch_validate_crc(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    const Batch *batch = (Batch *)self;
    const uint8_t *covered = (const uint8_t *)PyBytes_AsString(batch->data) + batch->start + ATTRIBUTES;
    return PyBool_FromLong(crc32c(covered, batch->end - batch->start - ATTRIBUTES) == batch->crc);
}

static PyMemberDef batch_members[] = {
    {"base_offset", T_LONGLONG, offsetof(Batch, base_offset), READONLY, NULL},
    {"next_offset", T_LONGLONG, offsetof(Batch, next_offset), READONLY, NULL},
    {"producer_id", T_LONGLONG, offsetof(Batch, producer_id), READONLY, NULL},
    {"is_transactional", T_BOOL, offsetof(Batch, is_transactional), READONLY, NULL},
    {"is_control_batch", T_BOOL, offsetof(Batch, is_control_batch), READONLY, NULL},
    {NULL}
};
static PyGetSetDef batch_getters[] = {
    {"data", batch_data, NULL, "A copy of the batch's bytes.", NULL},
    {NULL}
};
static PyMethodDef batch_methods[] = {
    {"validate_crc", batch_validate_crc, METH_NOARGS, "Whether the checksum matches the batch's bytes."},
    {NULL}
};
static PyType_Slot batch_slots[] = {
    {Py_tp_doc, "The header of a batch, and where its bytes are."},
    {Py_tp_dealloc, batch_dealloc},
    {Py_tp_members, batch_members},
    {Py_tp_getset, batch_getters},
    {Py_tp_methods, batch_methods},
    {0, NULL}
};
static PyType_Spec batch_spec = {
    .name = "framework_speedups.Batch",
    .basicsize = sizeof(Batch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = batch_slots,
};

/* The batch from `start` to `end`, which must be at least as long as a header. */
static PyObject *batch_new(PyTypeObject *type, PyObject *data, Py_ssize_t start, Py_ssize_t end)
{
    const uint8_t *header = (const uint8_t *)PyBytes_AsString(data) + start;
    int64_t base_offset = (int64_t)big_endian_64(header + BASE_OFFSET);
    int32_t last_offset_delta = (int32_t)big_endian_32(header + LAST_OFFSET_DELTA);
    if (base_offset < 0 || last_offset_delta < 0 || base_offset > INT64_MAX - last_offset_delta - 1)
        return PyErr_Format(
            PyExc_ValueError, "a batch has offsets from %lld to that + %d", (long long)base_offset, last_offset_delta);
    Batch *batch = PyObject_New(Batch, type);
    if (batch == NULL)
        return NULL;
    batch->data = Py_NewRef(data);
    batch->start = start;
    batch->end = end;
    batch->base_offset = base_offset;
    batch->next_offset = base_offset + last_offset_delta + 1;
    batch->first_timestamp = (int64_t)big_endian_64(header + FIRST_TIMESTAMP);
    batch->max_timestamp = (int64_t)big_endian_64(header + MAX_TIMESTAMP);
    batch->producer_id = (int64_t)big_endian_64(header + PRODUCER_ID);
    batch->crc = big_endian_32(header + CRC);
    batch->count = (int32_t)big_endian_32(header + COUNT);
    batch->last_offset_delta = last_offset_delta;
    batch->attributes = header[ATTRIBUTES + 1]; /* no bit of the upper byte is used */
    batch->is_transactional = (batch->attributes & TRANSACTIONAL_BIT) != 0;
    batch->is_control_batch = (batch->attributes & CONTROL_BIT) != 0;
    return (PyObject *)batch;
}

/* The end of the batch at `start`; `start` if no complete batch of this format begins there; -1 with an error set if it
 * is damaged. */
static Py_ssize_t batch_end(const uint8_t *bytes, Py_ssize_t start, Py_ssize_t size)
{
    if (size - start <= MAGIC || bytes[start + MAGIC] != THIS_MAGIC)
        return start;
    int32_t length = (int32_t)big_endian_32(bytes + start + LENGTH);
    if (length < HEADER_SIZE - AFTER_LENGTH) {
        PyErr_Format(PyExc_ValueError, "a batch says that it has %d bytes, less than its header", length);
        return -1;
    }
    return length > size - start - AFTER_LENGTH ? start : start + AFTER_LENGTH + length;
}

static PyObject *batches(PyObject *module, PyObject *data)
{
    State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data))
        return PyErr_Format(PyExc_TypeError, "batches are cut from bytes");
    const uint8_t *bytes = (const uint8_t *)PyBytes_AsString(data);
    Py_ssize_t start = 0, end, size = PyBytes_Size(data);
    PyObject *found = PyList_New(0);
    if (found == NULL)
        return NULL;
    while ((end = batch_end(bytes, start, size)) > start) {
        PyObject *batch = batch_new(state->batch_type, data, start, end);
        int status = batch == NULL ? -1 : PyList_Append(found, batch);
        Py_XDECREF(batch);
        if (status < 0)
            goto failed;
        start = end;
    }
    if (end >= 0)
        return found;
failed:
    Py_DECREF(found);
    return NULL;
}

/* ---- Parsing of records. The functions return a text that describes the error, NULL for none. */

/* Read a length, and as many bytes. A negative length means null. */
static inline const char *read_bytes(Cursor *cursor, const uint8_t **at, int32_t *size)
{
    int64_t length;
    if (!read_varint(cursor, &length))
        return "a length is cut short";
    *at = cursor->at;
    if (length < 0) {
        *size = -1;
        return NULL;
    }
    if (length > cursor->end - cursor->at || length > INT32_MAX)
        return "a length goes beyond its end";
    *size = (int32_t)length;
    cursor->at += length;
    return NULL;
}

static const char *check_text(const uint8_t *at, int32_t size)
{
    PyObject *text = PyUnicode_DecodeUTF8((const char *)at, size, NULL);
    if (text == NULL) {
        PyErr_Clear();
        return "the name of a header is not UTF-8";
    }
    Py_DECREF(text);
    return NULL;
}

static const char *skip_headers(Cursor *cursor)
{
    int64_t count;
    const uint8_t *at;
    int32_t size;
    const char *wrong;
    if (!read_varint(cursor, &count) || count < 0)
        return "its number of headers is invalid";
    for (; count > 0; count--) {
        if ((wrong = read_bytes(cursor, &at, &size)) != NULL)
            return wrong;
        if (size < 0)
            return "a header has no name";
        if ((wrong = check_text(at, size)) != NULL || (wrong = read_bytes(cursor, &at, &size)) != NULL)
            return wrong;
    }
    return NULL;
}

/* Read the record at the cursor. `delta` is the offset delta of the record before, and becomes that of this record. */
static const char *read_record(Cursor *cursor, const Batch *batch, int64_t *delta, Record *record)
{
    int64_t length, timestamp_delta, offset_delta;
    const char *wrong;
    if (!read_varint(cursor, &length) || length < 1 || length > cursor->end - cursor->at)
        return "its length goes beyond the batch";
    Cursor inside = {cursor->at + 1, cursor->at + length}; /* skips one byte of attributes, which are not used */
    cursor->at = inside.end;
    if (!read_varint(&inside, &timestamp_delta) || !read_varint(&inside, &offset_delta))
        return "its timestamp or offset is cut short";
    if (offset_delta <= *delta || offset_delta > batch->last_offset_delta)
        return "its offset is out of order, or not in the batch";
    *delta = offset_delta;
    record->end = inside.end;
    record->offset = batch->base_offset + offset_delta;
    record->timestamp = batch->attributes & LOG_APPEND_TIME_BIT
        ? batch->max_timestamp
        : (int64_t)((uint64_t)batch->first_timestamp + (uint64_t)timestamp_delta);
    if ((wrong = read_bytes(&inside, &record->key, &record->key_size)) != NULL
        || (wrong = read_bytes(&inside, &record->value, &record->value_size)) != NULL
        || (wrong = skip_headers(&inside)) != NULL)
        return wrong;
    return inside.at == inside.end ? NULL : "it is longer than its fields";
}

/* ---- Columns: construction from batches */

static void columns_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyMem_Free(((Columns *)self)->owned);
    Py_DECREF(((Columns *)self)->kept_alive);
    PyObject_Free(self);
    Py_DECREF(type);
}

static Columns *columns_alloc(PyTypeObject *type, PyObject *kept_alive, const Record *records, Py_ssize_t length)
{
    Columns *columns = PyObject_New(Columns, type);
    if (columns == NULL)
        return NULL;
    columns->kept_alive = Py_NewRef(kept_alive);
    columns->owned = NULL;
    columns->records = records;
    columns->length = length;
    return columns;
}

/* Allocate memory for this number of records, with a reserve if there was too little. Returns whether it succeeded. */
static int make_room(Columns *columns, Py_ssize_t *room, Py_ssize_t wanted)
{
    if (wanted <= *room)
        return 1;
    Record *records = NULL;
    wanted = Py_MAX(wanted, 2 * *room);
    if (wanted <= PY_SSIZE_T_MAX / (Py_ssize_t)sizeof(Record))
        records = PyMem_Realloc(columns->owned, wanted * sizeof(Record));
    if (records == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    columns->records = columns->owned = records;
    *room = wanted;
    return 1;
}

/* The decompressed bytes of the batch's records, and their place in them. `columns` keeps them alive. */
static int find_records(Columns *columns, const Batch *batch, PyObject *decompress, Cursor *cursor)
{
    int compression = batch->attributes & COMPRESSION_BITS;
    PyObject *bytes = compression == 0
        ? Py_NewRef(batch->data)
        : PyObject_CallFunction(decompress, "iN", compression, batch_bytes(batch, HEADER_SIZE));
    if (bytes == NULL)
        return 0;
    int found = 0;
    if (!PyBytes_Check(bytes)) {
        PyErr_SetString(PyExc_TypeError, "decompress did not return bytes");
    } else if (PyList_Append(columns->kept_alive, bytes) == 0) {
        const uint8_t *first = (const uint8_t *)PyBytes_AsString(bytes);
        cursor->at = compression == 0 ? first + batch->start + HEADER_SIZE : first;
        cursor->end = compression == 0 ? first + batch->end : first + PyBytes_Size(bytes);
        found = 1;
    }
    Py_DECREF(bytes);
    return found;
}

/* Add the records of a batch from offset `position` on. Returns whether all records are valid. */
static int add_batch(Columns *columns, Py_ssize_t *room, const Batch *batch, int64_t position, PyObject *decompress)
{
    Cursor cursor;
    int32_t number = 0;
    const char *wrong = NULL;
    if (!find_records(columns, batch, decompress, &cursor))
        return 0;
    if (batch->count < 0 || batch->count > (cursor.end - cursor.at) / SMALLEST_RECORD)
        wrong = "the batch is too short for that number of records";
    else if (!make_room(columns, room, columns->length + batch->count))
        return 0;
    for (int64_t delta = -1; wrong == NULL && number < batch->count; number++) {
        Record *record = &columns->owned[columns->length];
        if ((wrong = read_record(&cursor, batch, &delta, record)) == NULL)
            columns->length += record->offset >= position;
    }
    if (wrong == NULL && cursor.at != cursor.end)
        wrong = "more bytes follow after this last record";
    if (wrong != NULL)
        PyErr_Format(
            PyExc_ValueError, "record %d of %d in the batch at offset %lld: %s",
            (int)number, (int)batch->count, batch->base_offset, wrong);
    return wrong == NULL;
}

/* Returns whether these are batches in order. Sets `most` to the number of records that fit into them uncompressed. */
static int check_batches(PyObject *batches, const State *state, Py_ssize_t *most)
{
    long long least = 0;
    *most = 0;
    for (Py_ssize_t number = 0; number < PyTuple_Size(batches); number++) {
        const Batch *batch = (Batch *)PyTuple_GetItem(batches, number);
        if (!Py_IS_TYPE((PyObject *)batch, state->batch_type)) {
            PyErr_SetString(PyExc_TypeError, "columns are made of batches");
            return 0;
        }
        if (batch->base_offset < least) {
            PyErr_Format(PyExc_ValueError, "a batch at offset %lld comes before %lld", batch->base_offset, least);
            return 0;
        }
        least = batch->next_offset;
        Py_ssize_t fit = (batch->end - batch->start) / SMALLEST_RECORD;
        *most += batch->count < fit ? Py_MAX(batch->count, 0) : fit;
    }
    return 1;
}

static int add_batches(Columns *columns, PyObject *batches, const State *state, int64_t position, PyObject *decompress)
{
    Py_ssize_t room = 0, most;
    if (!check_batches(batches, state, &most) || !make_room(columns, &room, most))
        return 0;
    for (Py_ssize_t number = 0; number < PyTuple_Size(batches); number++)
        if (!add_batch(columns, &room, (Batch *)PyTuple_GetItem(batches, number), position, decompress))
            return 0;
    return 1;
}

static PyObject *columns_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"batches", "position", "decompress", NULL};
    PyObject *given, *decompress = Py_None;
    long long position = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|LO:Columns", names, &given, &position, &decompress))
        return NULL;
    PyObject *batches = PySequence_Tuple(given), *kept_alive = PyList_New(0);
    Columns *columns = batches == NULL || kept_alive == NULL ? NULL : columns_alloc(type, kept_alive, NULL, 0);
    if (columns != NULL && !add_batches(columns, batches, PyType_GetModuleState(type), position, decompress))
        Py_CLEAR(columns);
    Py_XDECREF(kept_alive);
    Py_XDECREF(batches);
    return (PyObject *)columns;
}

/* ---- Columns: sequence and columns */

static Py_ssize_t columns_length(PyObject *self)
{
    return ((Columns *)self)->length;
}

static PyObject *columns_slice(PyObject *self, PyObject *positions)
{
    const Columns *columns = (Columns *)self;
    Py_ssize_t start, stop, step;
    if (!PySlice_Check(positions))
        return PyErr_Format(PyExc_TypeError, "columns are indexed by slices, not by integers");
    if (PySlice_Unpack(positions, &start, &stop, &step) < 0)
        return NULL;
    if (step != 1)
        return PyErr_Format(PyExc_ValueError, "the step of a slice of columns must be 1, not %zd", step);
    Py_ssize_t length = PySlice_AdjustIndices(columns->length, &start, &stop, step);
    PyObject *owner = columns->owned == NULL ? columns->kept_alive : self; /* no chain of slices */
    return (PyObject *)columns_alloc(Py_TYPE(self), owner, length == 0 ? columns->records : columns->records + start, length);
}

/* A list of the results of `make` for each record. */
static inline PyObject *column(PyObject *self, PyObject *(*make)(const Record *))
{
    const Columns *columns = (Columns *)self;
    PyObject *list = PyList_New(columns->length);
    for (Py_ssize_t number = 0; list != NULL && number < columns->length; number++) {
        PyObject *item = make(&columns->records[number]);
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, number, item);
    }
    return list;
}

static inline PyObject *bytes_or_none(const uint8_t *at, int32_t size)
{
    return size < 0 ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize((const char *)at, size);
}

static PyObject *make_offset(const Record *record)
{
    return PyLong_FromLongLong(record->offset);
}

static PyObject *make_timestamp(const Record *record)
{
    return PyLong_FromLongLong(record->timestamp);
}

static PyObject *make_key(const Record *record)
{
    return bytes_or_none(record->key, record->key_size);
}

static PyObject *make_key_text(const Record *record)
{
    if (record->key_size < 0)
        return Py_NewRef(Py_None);
    return PyUnicode_DecodeUTF8((const char *)record->key, record->key_size, NULL);
}

static PyObject *make_value(const Record *record)
{
    return bytes_or_none(record->value, record->value_size);
}

/* Read a header. The parser has checked that it is complete. */
static PyObject *make_header(Cursor *cursor)
{
    const uint8_t *name = cursor->at, *value = cursor->at;
    int32_t name_size = 0, value_size = 0;
    read_bytes(cursor, &name, &name_size);
    read_bytes(cursor, &value, &value_size);
    PyObject *text = PyUnicode_DecodeUTF8((const char *)name, name_size, NULL);
    PyObject *bytes = bytes_or_none(value, value_size);
    PyObject *header = text == NULL || bytes == NULL ? NULL : PyTuple_Pack(2, text, bytes);
    Py_XDECREF(text);
    Py_XDECREF(bytes);
    return header;
}

static PyObject *make_headers(const Record *record)
{
    const uint8_t *first = record->value + (record->value_size > 0 ? record->value_size : 0);
    Cursor cursor = {first, record->end};
    int64_t count = 0;
    read_varint(&cursor, &count);
    PyObject *headers = PyTuple_New((Py_ssize_t)count);
    for (Py_ssize_t number = 0; headers != NULL && number < count; number++) {
        PyObject *header = make_header(&cursor);
        if (header == NULL)
            Py_CLEAR(headers);
        else
            PyTuple_SetItem(headers, number, header);
    }
    return headers;
}

static PyObject *columns_offsets(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    const Columns *columns = (Columns *)self;
    int64_t first = columns->length == 0 ? 0 : columns->records[0].offset;
    int64_t stop = columns->length == 0 ? 0 : columns->records[columns->length - 1].offset + 1;
    if (stop - first == columns->length) /* offsets are increasing, so there are no gaps */
        return PyObject_CallFunction((PyObject *)&PyRange_Type, "LL", (long long)first, (long long)stop);
    return column(self, make_offset);
}

static PyObject *columns_timestamps(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return column(self, make_timestamp);
}

static PyObject *columns_keys(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return column(self, make_key);
}

static PyObject *columns_key_texts(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return column(self, make_key_text);
}

static PyObject *columns_values(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return column(self, make_value);
}

static PyObject *columns_headers(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return column(self, make_headers);
}

static PyMethodDef columns_methods[] = {
    {"offsets", columns_offsets, METH_NOARGS, "A range if there are no gaps, else a list."},
    {"timestamps", columns_timestamps, METH_NOARGS, "In milliseconds since the epoch."},
    {"keys", columns_keys, METH_NOARGS, "Bytes or None."},
    {"values", columns_values, METH_NOARGS, "Bytes, or None."},
    {"headers", columns_headers, METH_NOARGS, "Tuples of pairs: a text, and bytes or None."},
    {"key_texts", columns_key_texts, METH_NOARGS,
     "Keys as text. Raises UnicodeDecodeError for a key that is not UTF-8."},
    {NULL}
};
static PyType_Slot columns_slots[] = {
    {Py_tp_doc, "Records of fetched batches. Each column is made when its method is called."},
    {Py_tp_new, columns_new},
    {Py_tp_dealloc, columns_dealloc},
    {Py_tp_methods, columns_methods},
    {Py_mp_length, columns_length},
    {Py_mp_subscript, columns_slice},
    {0, NULL}
};
static PyType_Spec columns_spec = {
    .name = "framework_speedups.Columns",
    .basicsize = sizeof(Columns),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = columns_slots,
};

/* ---- The module */

static PyObject *crc32c_of(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "portable", NULL};
    Py_buffer data;
    int portable = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*|$p:crc32c", names, &data, &portable))
        return NULL;
    uint32_t crc = (portable ? crc32c_portable : crc32c)(data.buf, data.len);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLong(crc);
}

static PyMethodDef module_methods[] = {
    {"batches", batches, METH_O, "The complete batches of message format v2 at the beginning of fetched bytes."},
    {"crc32c", (PyCFunction)(void (*)(void))crc32c_of, METH_VARARGS | METH_KEYWORDS,
     "The CRC-32C of bytes. portable: without the instructions that this CPU may have for it."},
    {NULL}
};

static int module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    crc32c_choose();
    state->batch_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &batch_spec, NULL);
    PyObject *columns_type = PyType_FromModuleAndSpec(module, &columns_spec, NULL);
    int status = state->batch_type == NULL || columns_type == NULL
        || PyModule_AddType(module, state->batch_type) < 0
        || PyModule_AddType(module, (PyTypeObject *)columns_type) < 0;
    Py_XDECREF(columns_type);
    return -status;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->batch_type);
    return 0;
}

static int module_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->batch_type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL}
};
static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "framework_speedups._native",
    .m_size = sizeof(State),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&module_def);
}
