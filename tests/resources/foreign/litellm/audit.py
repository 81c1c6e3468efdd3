"""A hook as somebody writes it in a hurry: it blocks the loop, so that all requests wait for each other."""

import time

from litellm.integrations.custom_logger import CustomLogger


class Audit(CustomLogger):
    """Looks at every request for a while."""

    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        """Not `await asyncio.sleep`."""
        del self, user_api_key_dict, cache, call_type
        time.sleep(0.06)
        return data


audit = Audit()
