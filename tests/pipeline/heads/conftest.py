import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """As the search fits heads; and on busy cores two BLAS threads are many times slower."""
    with threadpool_limits(1):
        yield
