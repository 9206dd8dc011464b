/* Records out of columns: the objects that a processor gets one by one.
 *
 * Python makes them by zip and tuple.__new__, which makes and copies a tuple for each record, and one more before that.
 * Here, each record is made once, and filled.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <limits.h>

#define COLUMNS 5   /* offsets, timestamps, keys, values, headers */
#define FIXED 2     /* topic, partition */

typedef struct {
    PyObject_HEAD
    PyObject *type;              /* a subclass of tuple */
    allocfunc alloc;
    PyObject *fixed[FIXED];
    PyObject *columns[COLUMNS];
    int is_list[COLUMNS];
    int is_range;                /* whether the offsets are: then they are counted here */
    long long first, step;
    Py_ssize_t next, length;
} Rows;

static int rows_traverse(PyObject *self, visitproc visit, void *arg)
{
    Rows *rows = (Rows *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(rows->type);
    for (int i = 0; i < FIXED; i++)
        Py_VISIT(rows->fixed[i]);
    for (int i = 0; i < COLUMNS; i++)
        Py_VISIT(rows->columns[i]);
    return 0;
}

static int rows_clear(PyObject *self)
{
    Rows *rows = (Rows *)self;
    rows->next = rows->length = 0;
    Py_CLEAR(rows->type);
    for (int i = 0; i < FIXED; i++)
        Py_CLEAR(rows->fixed[i]);
    for (int i = 0; i < COLUMNS; i++)
        Py_CLEAR(rows->columns[i]);
    return 0;
}

static void rows_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    rows_clear(self);
    freefunc free = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free(self);
    Py_DECREF(type);
}

/* The item of a column as a new reference. */
static PyObject *item(Rows *rows, int column)
{
    PyObject *items = rows->columns[column];
    if (column == 0 && rows->is_range)
        return PyLong_FromLongLong(rows->first + rows->step * rows->next);
    if (!rows->is_list[column])
        return PySequence_GetItem(items, rows->next);
    PyObject *found = PyList_GetItem(items, rows->next); /* checks the length: the list may have become shorter */
    Py_XINCREF(found);
    return found;
}

static PyObject *rows_next(PyObject *self)
{
    Rows *rows = (Rows *)self;
    if (rows->next >= rows->length)
        return NULL;
    PyObject *record = rows->alloc((PyTypeObject *)rows->type, FIXED + COLUMNS);
    if (record == NULL)
        return NULL;
    for (int i = 0; i < FIXED + COLUMNS; i++) {
        PyObject *value = i < FIXED ? Py_NewRef(rows->fixed[i]) : item(rows, i - FIXED);
        if (value == NULL || PyTuple_SetItem(record, i, value) < 0) {
            Py_DECREF(record);
            return NULL;
        }
    }
    rows->next++;
    return record;
}

/* Notes how the offsets are counted if they are a range of numbers that fit. 0, or -1 with an exception. */
static int take_range(Rows *rows)
{
    rows->is_range = Py_IS_TYPE(rows->columns[0], &PyRange_Type);
    if (!rows->is_range || rows->length == 0)
        return 0;
    PyObject *first = PySequence_GetItem(rows->columns[0], 0);
    PyObject *step = PyObject_GetAttrString(rows->columns[0], "step");
    int overflow = 0, overflow_step = 0;
    if (first != NULL && step != NULL) {
        rows->first = PyLong_AsLongLongAndOverflow(first, &overflow);
        rows->step = PyLong_AsLongLongAndOverflow(step, &overflow_step);
    }
    int failed = first == NULL || step == NULL || (PyErr_Occurred() != NULL);
    Py_XDECREF(first);
    Py_XDECREF(step);
    if (failed)
        return -1;
    /* The last offset must fit, too; Kafka's do. */
    long long most = (1LL << 62) / (rows->length + 1);
    if (overflow || overflow_step || rows->step > most || rows->step < -most
        || rows->first > (1LL << 62) || rows->first < -(1LL << 62))
        rows->is_range = 0;
    return 0;
}

static PyObject *rows_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *record, *fixed[FIXED], *columns[COLUMNS];
    if (kwargs != NULL && PyDict_Size(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "Rows takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOOOOOOO:Rows", &record, &fixed[0], &fixed[1], &columns[0], &columns[1], &columns[2],
                          &columns[3], &columns[4]))
        return NULL;
    if (!PyType_Check(record) || !(PyType_GetFlags((PyTypeObject *)record) & Py_TPFLAGS_TUPLE_SUBCLASS)) {
        PyErr_SetString(PyExc_TypeError, "records are of a subclass of tuple");
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Rows *rows = (Rows *)alloc(type, 0);
    if (rows == NULL)
        return NULL;
    rows->type = Py_NewRef(record);
    rows->alloc = (allocfunc)PyType_GetSlot((PyTypeObject *)record, Py_tp_alloc);
    for (int i = 0; i < FIXED; i++)
        rows->fixed[i] = Py_NewRef(fixed[i]);
    for (int i = 0; i < COLUMNS; i++) {
        rows->columns[i] = Py_NewRef(columns[i]);
        rows->is_list[i] = PyList_CheckExact(columns[i]);
        Py_ssize_t length = PySequence_Size(columns[i]);
        if (length >= 0 && i > 0 && length != rows->length)
            PyErr_Format(PyExc_ValueError, "column %d has %zd items, not %zd", i, length, rows->length);
        if (PyErr_Occurred() != NULL) {
            Py_DECREF(rows);
            return NULL;
        }
        rows->length = length;
    }
    if (take_range(rows) < 0) {
        Py_DECREF(rows);
        return NULL;
    }
    return (PyObject *)rows;
}

static PyType_Slot rows_slots[] = {
    {Py_tp_doc, "Iterates over the records that columns of equal length hold."},
    {Py_tp_new, rows_new},
    {Py_tp_dealloc, rows_dealloc},
    {Py_tp_traverse, rows_traverse},
    {Py_tp_clear, rows_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, rows_next},
    {0, NULL}
};
static PyType_Spec rows_spec = {
    .name = "framework_speedups.Rows",
    .basicsize = sizeof(Rows),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = rows_slots,
};

/* The smallest and the largest of a list of ints; None for anything else, and for an int beyond 64 bits. */
static PyObject *extent(PyObject *Py_UNUSED(module), PyObject *numbers)
{
    Py_ssize_t length = PyList_CheckExact(numbers) ? PyList_Size(numbers) : 0;
    long long least = LLONG_MAX, most = LLONG_MIN;
    for (Py_ssize_t i = 0; i < length; i++) {
        PyObject *item = PyList_GetItem(numbers, i);
        if (!PyLong_CheckExact(item))
            Py_RETURN_NONE;
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(item, &overflow);
        if (overflow)
            Py_RETURN_NONE;
        if (number < least)
            least = number;
        if (number > most)
            most = number;
    }
    if (length == 0)
        Py_RETURN_NONE;
    return Py_BuildValue("(LL)", least, most);
}

static PyMethodDef module_functions[] = {
    {"extent", extent, METH_O,
     "The smallest and the largest of a list of ints; None for anything else, and for an int beyond 64 bits."},
    {NULL}
};

static int module_exec(PyObject *module)
{
    PyObject *rows_type = PyType_FromModuleAndSpec(module, &rows_spec, NULL);
    int status = rows_type == NULL || PyModule_AddType(module, (PyTypeObject *)rows_type) < 0;
    Py_XDECREF(rows_type);
    return -status;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL}
};
static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "framework_speedups._records",
    .m_methods = module_functions,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__records(void)
{
    return PyModuleDef_Init(&module_def);
}
